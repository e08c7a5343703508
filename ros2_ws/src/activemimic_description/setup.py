from setuptools import find_packages, setup

setup(
    name="activemimic_description",
    version="0.1.0",
    description="The AGIBOT G1 in numbers, URDF and MJCF generated from them, and the robot contracts.",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["activemimic_description*"]),
    package_data={"activemimic_description": ["robots/*.yaml", "contracts/*.yaml"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/activemimic_description"]),
        ("share/activemimic_description", ["package.xml"]),
    ],
    install_requires=[
        "numpy",
        "pyyaml",
        "pydantic>=2",
        "opencv-python-headless<5",
        "rosbags",
        "transforms3d",
    ],
    zip_safe=False,
)
