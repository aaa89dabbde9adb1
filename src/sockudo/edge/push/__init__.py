"""The signed routes under ``/apps/{app_id}/push`` (contract 50 § 2)."""
