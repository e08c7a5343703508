from setuptools import find_packages, setup

setup(
    name="activemimic_sim",
    version="0.1.0",
    description="The MuJoCo G1: scenes, tasks, scripted experts and the simulator node.",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["activemimic_sim*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/activemimic_sim"]),
        ("share/activemimic_sim", ["package.xml"]),
    ],
    install_requires=[
        "activemimic_description",
        "gymnasium>=1.0",
        "numpy",
        "mujoco>=3.3,<5",
        "opencv-python-headless<5",
    ],
    entry_points={
        "console_scripts": [
            "sim_node = activemimic_sim.sim_node:main",
        ],
    },
    zip_safe=False,
)
