"""The signed routes under ``/apps/{app_id}/push`` (spec: push § 2)."""
