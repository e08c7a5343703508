from setuptools import find_packages, setup

setup(
    name="activemimic_data",
    version="0.1.0",
    description="Bags and datasets: recording, checking, converting, importing. Free of ROS and torch.",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["activemimic_data*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/activemimic_data"]),
        ("share/activemimic_data", ["package.xml"]),
    ],
    install_requires=[
        "activemimic_description",
        "av",
        "mcap",
        "numpy",
        "opencv-python-headless<5",
        "pandas",
        "pyarrow",
        "pydantic>=2",
        "pyyaml",
        "rosbags",
    ],
    extras_require={"import": ["h5py"]},  # datasets of others
    zip_safe=False,
)
