import os, runpy
runpy.run_path(os.path.join(os.path.dirname(__file__), "../../tools/lint.py"), run_name="__main__")
