"""What dev.py is made of: one subject a file.

words           what the user sees
folders         where things lie
hosts           the ComfyUIs to choose from
environments    the environments that commands run in
processes       processes, and how they end
pip, download   the packages, and the host
setting_up      all of it made, where it is missing
chromium        the browser of the tests
server          ComfyUI, running with the pack
forecast        what a command will take
which_tests     what `dev.py test` runs
"""
