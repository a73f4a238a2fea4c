"""Runs a program of the lab in this process, with COMFYUI_PATH naming a ComfyUI folder.

python lab/run.py PROGRAM [arguments]: models.train, measure.evaluate, measure.page_numbers, bench.bench or
pictures.contact_sheet.
"""

import sys

import host

if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    raise SystemExit(host.run(sys.argv.pop(1)))
