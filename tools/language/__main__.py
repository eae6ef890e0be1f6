"""Report the phrases of phrases.txt; exit with 1 if there are any.

Run it in the project's folder: python -m tools.language [FILE…]
"""

import sys

from tools.language.check import check, tracked

findings = check(sys.argv[1:] or tracked())
for finding in findings:
    print(finding)  # noqa: T201
sys.exit(bool(findings))
