"""Building as another machine does, as far as it goes without one: the exporter's settings."""

from pathlib import Path

from build import buildx, otherhost


def test_a_layout_is_written_with_the_settings_of_an_image():
    annotations = {"org.example.a": "1, 2", "org.example.b": "x"}
    image = buildx.image_output(("name:tag",), annotations)
    layout = otherhost.layout_output(annotations, Path("/some where/image"))
    assert layout.startswith('type=oci,tar=false,"dest=/some where/image",')
    assert layout.split('image",', 1)[1] == image.split('tag",', 1)[1]
    assert "compression=zstd" in layout
