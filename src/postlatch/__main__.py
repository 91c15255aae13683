"""``python -m postlatch`` is the command ``postlatch``."""

import sys

from postlatch.app.main import main

sys.exit(main())
