from glob import glob

from setuptools import find_packages, setup

setup(
    name="activemimic_bringup",
    version="0.1.0",
    description="ROS 2 nodes, launch graph, monitor, demo and command line of ActiveMimic.",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["activemimic_bringup*"]),
    package_data={"activemimic_bringup": ["config/*", "demo/templates/*"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/activemimic_bringup"]),
        ("share/activemimic_bringup", ["package.xml"]),
        ("share/activemimic_bringup/launch", sorted(glob("launch/*.launch.py"))),
    ],
    install_requires=[
        "activemimic_description",
        "activemimic_control",
        "activemimic_policy",
        "activemimic_data",
        "activemimic_sim",
        "activemimic_rollout",
        "activemimic_training",
        "numpy",
        "pydantic>=2",
        "typer",
        "rich",
        "matplotlib",
    ],
    entry_points={
        "console_scripts": [
            "activemimic = activemimic_bringup.cli.main:app",
            "policy_node = activemimic_bringup.nodes.policy_node:main",
            "controller_node = activemimic_bringup.nodes.controller_node:main",
            "recorder_node = activemimic_bringup.nodes.recorder_node:main",
            "evaluator_node = activemimic_bringup.nodes.evaluator_node:main",
        ]
    },
    zip_safe=False,
)
