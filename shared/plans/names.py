"""How secrets and variables of a tenant may be called: what a reference can name, and nothing that needs quoting."""

VALUE_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_\-]*$"
