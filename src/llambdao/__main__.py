"""`python -m llambdao`: the command line."""

import sys

from llambdao.cli import main

sys.exit(main())
