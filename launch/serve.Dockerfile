# The service in a container, for CPUs.
#   docker build -f launch/serve.Dockerfile -t jaxrec-serve .
#   docker run -p 8000:8000 -v "$PWD/runs:/runs:ro" -v jaxrec-state:/state -v "$HOME/.config/jaxrec:/secrets:ro" \
#     jaxrec-serve /runs/demo
# Make a key before the first start: the same command with `--new-key shop` at its end. /secrets holds user.key, with
# which the log of the run was read. For a GPU, install jaxrec[serve,cuda12] and run with --gpus all.
FROM python:3.12-slim
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 HOME=/home/jaxrec JAX_COMPILATION_CACHE_DIR=/state/compiled
RUN useradd --uid 10001 --create-home --home-dir /home/jaxrec jaxrec \
    && mkdir -p /state /home/jaxrec/.config \
    && ln -s /secrets /home/jaxrec/.config/jaxrec \
    && chown -R jaxrec:jaxrec /state /home/jaxrec
COPY pyproject.toml README.md LICENSE /src/
COPY jaxrec /src/jaxrec
RUN pip install "/src[serve]"
USER 10001
VOLUME /state
EXPOSE 8000
# Exec form, so that the service is process 1 and gets SIGTERM itself; it finishes accepted requests, and then ends.
ENTRYPOINT ["jaxrec", "serve", "--host", "0.0.0.0", "--port", "8000", "--state", "/state"]
CMD ["/runs/demo"]
