"""How well the identity rules tell people apart: made people, a made stream of events, and the truth of both."""
