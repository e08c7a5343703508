from setuptools import find_packages, setup

setup(
    name="activemimic_control",
    version="0.1.0",
    description="Chunk playback, motion limits, self-collision and watchdogs of the robot. Free of ROS and torch.",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["activemimic_control*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/activemimic_control"]),
        ("share/activemimic_control", ["package.xml"]),
    ],
    install_requires=[
        "activemimic_description",
        "numpy",
        "ruckig",
    ],
    zip_safe=False,
)
