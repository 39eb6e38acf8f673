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
# CV2=system: the image's OpenCV was built against the image's NumPy, so both stay, and so does an onnxruntime that the
# image brings (it knows the GPU). Their wheels are dropped with their hashes; what is left is installed as pinned.
RUN set -eu; \
    brings() { python3 -c "import sys; from importlib.util import find_spec; sys.exit(find_spec('$1') is None)"; }; \
    case "$CV2" in \
        headless) kept=none ;; \
        system) \
            if ! brings cv2; then echo "CV2=system, but python3 of this image finds no cv2" >&2; exit 2; fi; \
            kept="opencv-python-headless|numpy"; \
            if brings onnxruntime; then kept="$kept|onnxruntime"; fi ;; \
        *) echo "CV2=$CV2: allowed are headless and system" >&2; exit 2 ;; \
    esac; \
    awk -v kept="^($kept)==" '/^[A-Za-z0-9]/ { drop = ($0 ~ kept) } !drop' requirements/run.txt > requirements/chosen.txt; \
    python3 -m venv --system-site-packages /opt/framesift; \
    /opt/framesift/bin/pip install --no-cache-dir --require-hashes --no-deps -r requirements/chosen.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY daemon daemon
RUN /opt/framesift/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM ${BASE}
COPY --from=build /opt/framesift /opt/framesift
RUN mkdir -p /var/lib/framesift /etc/framesift && chown 10001:10001 /var/lib/framesift
# onnxruntime 1.29 and newer report every session to their maker unless they are told not to.
ENV PATH=/opt/framesift/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ORT_DISABLE_TELEMETRY=1
WORKDIR /var/lib/framesift
VOLUME /var/lib/framesift
USER 10001:10001
# Alive, not "the platform is up": a container is not restarted because a camera is away. Like run, it looks for its
# settings in FRAMESIFT_CONFIG, /var/lib/framesift and /etc/framesift.
HEALTHCHECK --interval=60s --timeout=15s --start-period=60s CMD ["framesift", "status", "--alive"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["framesift"]
CMD ["run"]
