"""Other services that answer the same profiles, each in the best form that its users would write."""

from bench.peers.feast import FeastPostgres, FeastSqlite
from bench.peers.handwritten import Handwritten
from bench.peers.postgraphile import PostGraphile
from bench.subject import Subject

PEERS: list[type[Subject]] = [Handwritten, FeastSqlite, FeastPostgres, PostGraphile]
