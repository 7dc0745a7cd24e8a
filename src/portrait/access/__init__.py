"""Access: tenants, API keys and roles. Decides who is calling and what they may do."""
