from setuptools import find_packages, setup

setup(
    name="activemimic_policy",
    version="0.1.0",
    description="The flow-matching policy: model, runtimes, transforms, checkpoints, inference. Free of ROS.",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["activemimic_policy*"]),
    package_data={"activemimic_policy": ["checkpoints/**"]},
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/activemimic_policy"]),
        ("share/activemimic_policy", ["package.xml"]),
    ],
    install_requires=[
        "activemimic_description",
        "activemimic_control",
        "numpy",
        "torch",
        "safetensors",
        "tokenizers",
        "pydantic>=2",
        "opencv-python-headless<5",
    ],
    extras_require={
        # The onnx runtime: onnxruntime-gpu takes the place of onnxruntime where there is a CUDA device.
        "onnx": ["onnx", "onnxruntime", "onnxscript"],
    },
    zip_safe=False,
)
