import subprocess
import sys


def test_execution_and_spec_are_imported_without_torch():
    program = (
        "import sys, activemimic_policy, activemimic_policy.spec, activemimic_control.player\n"
        "print([name for name in ('torch', 'cv2', 'tokenizers', 'rclpy') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
