# The service in a container, for CPUs.
#   docker build -f launch/serve.Dockerfile -t jaxrec-serve .
#   docker run --rm -v "$PWD/runs:/runs:ro" -v jaxrec-state:/state -e JAXREC_USER_KEY jaxrec-serve /runs/demo --new-key shop
#   docker run -p 8000:8000 -v "$PWD/runs:/runs:ro" -v jaxrec-state:/state -e JAXREC_USER_KEY jaxrec-serve /runs/demo
# JAXREC_USER_KEY is the text of ~/.config/jaxrec/user.key, with which the log of the run was read: users keep their
# pseudonyms. Further settings go after the run, as in serve.queue=128.
# What to change: for GPUs, install /src[serve,cuda12] below and run with --gpus all; another port at ENTRYPOINT and EXPOSE.
FROM python:3.12-slim
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 JAX_COMPILATION_CACHE_DIR=/state/compiled
RUN useradd --uid 10001 --create-home jaxrec && mkdir /state && chown jaxrec /state
COPY pyproject.toml README.md LICENSE /src/
COPY jaxrec /src/jaxrec
RUN pip install "/src[serve,redis]"
USER 10001
VOLUME /state
EXPOSE 8000
# In this form the service is process 1 and gets SIGTERM itself. It finishes accepted requests, and then ends.
ENTRYPOINT ["jaxrec", "serve", "--host", "0.0.0.0", "--port", "8000", "--state", "/state"]
CMD ["/runs/demo"]
