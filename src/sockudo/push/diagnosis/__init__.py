"""Why a notification did not arrive, in the words of the error catalogue (spec: push § 6, 8, 12)."""
