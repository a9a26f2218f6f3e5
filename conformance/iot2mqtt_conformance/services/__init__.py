"""The programs that the suite brings up around a connector."""
