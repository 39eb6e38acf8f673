# framesift in a container, for x86-64 and arm64. On Jetson pass the vendor's image with its own OpenCV and leave the
# wheel out: docker build --build-arg BASE=<your l4t image> --build-arg CV2=system .
ARG BASE=python:3.12-slim-bookworm
FROM ${BASE} AS build
ARG CV2=headless
WORKDIR /src
COPY requirements/run.txt requirements/run.txt
# CV2=system drops the OpenCV wheel (and its hashes), so that it does not shadow the one that the image brings.
RUN python3 -m venv --system-site-packages /opt/framesift \
    && if [ "$CV2" = system ]; then \
        awk '/^[A-Za-z0-9]/ { drop = ($0 ~ /^opencv-python-headless==/) } !drop' requirements/run.txt > requirements/chosen.txt; \
    else cp requirements/run.txt requirements/chosen.txt; fi \
    && /opt/framesift/bin/pip install --no-cache-dir --require-hashes --no-deps -r requirements/chosen.txt
COPY pyproject.toml README.md LICENSE ./
COPY daemon daemon
RUN /opt/framesift/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM ${BASE}
COPY --from=build /opt/framesift /opt/framesift
RUN mkdir -p /var/lib/framesift /etc/framesift && chown 10001:10001 /var/lib/framesift
ENV PATH=/opt/framesift/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /var/lib/framesift
VOLUME /var/lib/framesift
USER 10001:10001
# Alive, not "the platform is up": a container is not restarted because a camera is away.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["framesift", "status", "--alive"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["framesift"]
CMD ["run", "--config", "/etc/framesift/framesift.yaml"]
