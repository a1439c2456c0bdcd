# The course without anything of the machine but a container engine: `docker build -t labs .`
# Grading in it: docs/teaching.md. PyTorch comes as its CPU builds, from requirements.txt.
FROM python:3.12-slim
RUN apt-get update && apt-get install --yes --no-install-recommends git && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home student
WORKDIR /course
COPY . .
RUN UV_TORCH_BACKEND=cpu UV_NO_CACHE=1 .ci/install && mkdir -p build && chmod 1777 build
USER student
ENTRYPOINT ["python", "-m", "course"]
CMD ["--help"]
