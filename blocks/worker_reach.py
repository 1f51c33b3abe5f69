"""Looks whether a machine reaches the Prefect API: travels alone, to login nodes and nodes, so needs Python 3.6 only.

Any answer will do, a refusal as well: who may ask what is the API's own affair.
"""

import ssl
import sys
import time
import urllib.error
import urllib.request

UNREACHED = 69
_TRIES, _SECONDS = 3, 10


def main(url: str) -> int:
    """Ask the API how it is; give 0 where anything answers, and UNREACHED with the reason where nothing does."""
    said = "nothing was asked"
    for number in range(_TRIES):
        try:
            urllib.request.urlopen(url.rstrip("/") + "/health", timeout=_SECONDS)  # noqa: S310 - it is http or https
        except urllib.error.HTTPError:
            return 0
        except urllib.error.URLError as error:
            # A certificate that this Python does not know may be known to the flow run's.
            if isinstance(error.reason, ssl.SSLError):
                return 0
            said = str(error.reason)
        except (OSError, ValueError) as error:
            said = str(error)
        else:
            return 0
        if number < _TRIES - 1:
            time.sleep(1)  # noqa: TID251 - it runs where there is no Clock
    sys.stderr.write(f"sluiceway: nothing answers at the Prefect API's URL {url}: {said}\n")
    return UNREACHED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
