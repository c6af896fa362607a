"""What the service keeps: a CRM's engagement history, decisions, hand-offs, messages and keys."""
