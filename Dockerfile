# framesift in a container, for x86-64 and arm64.
#
#   docker build -t framesift .          in the repository's folder
#   docker run --read-only --cap-drop ALL --stop-timeout 20 -v /etc/framesift:/etc/framesift:ro -v framesift:/var/lib/framesift framesift
#
# Stopping takes up to 9 s, so the stop timeout (stop_grace_period in a compose file) must be longer. On Jetson pass the
# vendor's image and keep its own OpenCV: add --build-arg BASE=<your l4t image> --build-arg CV2=system.
# The image must have python3 (3.10 or newer) with its venv module.
ARG BASE=python:3.12-slim-bookworm
FROM ${BASE} AS build
ARG CV2=headless
WORKDIR /src
COPY requirements/run.txt requirements/run.txt
COPY scripts/choose_requirements scripts/choose_requirements
# CV2=system: OpenCV and NumPy are the image's own.
RUN set -eu; \
    sh scripts/choose_requirements "$CV2" > requirements/chosen.txt; \
    python3 -m venv --system-site-packages /opt/framesift; \
    /opt/framesift/bin/pip install --no-cache-dir --require-hashes --no-deps -r requirements/chosen.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY daemon daemon
RUN /opt/framesift/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM ${BASE}
COPY --from=build /opt/framesift /opt/framesift
RUN mkdir -p /var/lib/framesift /etc/framesift && chown 10001:10001 /var/lib/framesift
# onnxruntime 1.29 and newer report every session to their maker unless they are told not to. Without MALLOC_ARENA_MAX
# each thread gets a heap of its own from glibc, and each heap keeps what it once needed.
ENV PATH=/opt/framesift/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ORT_DISABLE_TELEMETRY=1 \
    MALLOC_ARENA_MAX=2
WORKDIR /var/lib/framesift
VOLUME /var/lib/framesift
USER 10001:10001
# Alive, not "the platform is up": a container is not restarted because a camera is away. Like run, it looks for its
# settings in FRAMESIFT_CONFIG, /var/lib/framesift and /etc/framesift.
HEALTHCHECK --interval=60s --timeout=15s --start-period=60s CMD ["framesift", "status", "--alive"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["framesift"]
CMD ["run"]
