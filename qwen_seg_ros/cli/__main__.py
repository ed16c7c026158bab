from qwen_seg_ros.cli.main import app

app()
