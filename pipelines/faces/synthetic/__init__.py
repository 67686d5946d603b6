"""Photographs of people who do not exist, to try the pipeline without a download or anyone's face.

`person.py` invents people, `look.py` says what changes between photographs, `face.py`, `head.py`, `hair.py` and
`body.py` shape them on `surface.py`, `texture.py` paints, `render.py` lights and draws, `scene.py` takes the
photograph, `inbox.py` writes many.

At difficulty 0.5 MTCNN finds 99.7 % of the portraits and nothing in empty backgrounds. People never seen are
verified at 63-68 % by raw pixels, 68-70 % by an untrained small network, 93-95 % by a trained one.
"""
