# mien on a CPU, in the versions that the tests run with: docker build -t mien -f docker/cpu.Dockerfile .
FROM python:3.12-slim
WORKDIR /opt/mien
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
# The index of CPU builds is PyTorch's own; without it the default build brings CUDA along.
RUN pip install --no-cache-dir -c constraints.txt --extra-index-url https://download.pytorch.org/whl/cpu torch==2.13.0 \
 && pip install --no-cache-dir -c constraints.txt '.[web,table]'
RUN useradd --create-home mien && mkdir /runs && chown mien /runs
USER mien
WORKDIR /runs
ENTRYPOINT ["mien"]
CMD ["--help"]
