"""What differs from photograph to photograph of one person: pose, expression, clothes, light."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """What differs from photograph to photograph of one person. Angles in degrees; shares 0..1."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    smile: float = 0.0
    """-0.3 (sad) .. 1."""
    jaw: float = 0.0
    """How far the mouth is open."""
    lids: float = 1.0
    """How far the eyes are open; 1 is usual."""
    brows: float = 0.0
    """How far they are raised, cm."""
    gaze: tuple[float, float] = (0.0, 0.0)
    """Of the pupils, cm."""
    make_up: float = 0.0
    stubble: float = 0.0
    hair_length: float = 0.0
    """Longer or shorter than usual, cm."""
    hair_volume: float = 1.0
    hair_shade: float = 1.0
    glasses: bool = False
    clothes: tuple[float, float, float] = (0.2, 0.2, 0.3)
    neckline: float = 4.0
    """Depth of the cut-out, cm."""
    light: tuple[float, float, float] = (0.3, 0.5, 0.8)
    """Where the main light comes from (any length)."""
    light_colour: tuple[float, float, float] = (1.0, 1.0, 1.0)
    sky: tuple[float, float, float] = (0.3, 0.3, 0.3)
    """Light from all of the upper half."""
    ground: tuple[float, float, float] = (0.2, 0.2, 0.2)
    texture: int = 0
    """Seeds what has no name: noise of skin and cloth."""
