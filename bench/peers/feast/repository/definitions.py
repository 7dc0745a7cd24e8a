"""What Feast is told of the population: one entity, one feature view, a feature for each section."""

from feast import Entity, FeatureView, Field, FileSource
from feast.types import String
from feast.value_type import ValueType

SECTIONS = ("identities", "interactions", "segments", "journeys", "experiments", "consent")

customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.STRING)

profile = FeatureView(
    name="profile",
    entities=[customer],
    schema=[Field(name=section, dtype=String) for section in SECTIONS],
    source=FileSource(path="profile.parquet", timestamp_field="told_at"),
    online=True,
)
