"""The web app: questions, drawn answers."""
