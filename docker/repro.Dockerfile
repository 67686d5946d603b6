# The stage image with git, dvc and pytest beside it: for `dvc repro` without Airflow, and for the pipeline tests.
# Not an input of the stages: they import nothing of what is added here.
ARG STAGES

FROM ${STAGES} AS packages
ARG DEBIAN_MIRROR=http://deb.debian.org/debian
ARG DEBIAN_SECURITY_MIRROR=http://deb.debian.org/debian-security
ARG APT_OPTIONS=
RUN sed -i "s#http://deb.debian.org/debian-security#$DEBIAN_SECURITY_MIRROR#; s#http://deb.debian.org/debian #$DEBIAN_MIRROR #" /etc/apt/sources.list \
 && apt-get $APT_OPTIONS update \
 && DEBIAN_FRONTEND=noninteractive apt-get $APT_OPTIONS install -y --no-install-recommends python3-venv
ARG BUILD=
LABEL reprise.build=$BUILD
COPY host/index.sh repro.lock /host/
RUN . /host/index.sh && /usr/bin/python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir uv==0.13.9
# pytest goes beside the stages' packages, dvc into an environment of its own.
RUN . /host/index.sh && /usr/bin/python3 -m venv --without-pip /opt/repro \
 && /opt/uv/bin/uv pip install --python /opt/repro/bin/python --no-cache --compile-bytecode --no-deps --require-hashes -r /host/repro.lock \
 && /opt/uv/bin/uv pip install --python /usr/bin/python3 --target /opt/pytest --no-cache --compile-bytecode -c /host/repro.lock pytest

FROM ${STAGES}
ARG DEBIAN_MIRROR=http://deb.debian.org/debian
ARG DEBIAN_SECURITY_MIRROR=http://deb.debian.org/debian-security
ARG APT_OPTIONS=
RUN cp /etc/apt/sources.list /tmp/sources.list \
 && sed -i "s#http://deb.debian.org/debian-security#$DEBIAN_SECURITY_MIRROR#; s#http://deb.debian.org/debian #$DEBIAN_MIRROR #" /etc/apt/sources.list \
 && apt-get $APT_OPTIONS update \
 && DEBIAN_FRONTEND=noninteractive apt-get $APT_OPTIONS install -y --no-install-recommends git \
 && mv /tmp/sources.list /etc/apt/sources.list \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* \
 && git config --system --add safe.directory '*'
COPY --from=packages /opt/repro /opt/repro
COPY --from=packages /opt/pytest /opt/pytest
RUN echo /opt/pytest > "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/pytest.pth"
ENV PATH=/opt/venv/bin:/opt/repro/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
CMD ["bash", "-l"]
