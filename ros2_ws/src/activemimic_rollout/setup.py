from setuptools import find_packages, setup

setup(
    name="activemimic_rollout",
    version="0.1.0",
    description="Rollouts of policies and experts: trials, demonstrations, DAgger, statistics, reports.",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["activemimic_rollout*"]),
    package_data={"activemimic_rollout": ["trials/plans/*", "reports/templates/*"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/activemimic_rollout"]),
        ("share/activemimic_rollout", ["package.xml"]),
    ],
    install_requires=[
        "activemimic_description",
        "activemimic_control",
        "activemimic_policy",
        "activemimic_data",
        "activemimic_sim",
        "jinja2",
        "matplotlib",
        "numpy",
        "pydantic>=2",
        "pyyaml",
        "rich",
    ],
    zip_safe=False,
)
