"""The way in: what becomes of records and of what somebody decides, in one transaction each."""
