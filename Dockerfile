# An image of the service: see docs/how-to/install.md. What no extra brings comes from the lock, with its hash.
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY requirements requirements
COPY src src
RUN python -m venv /opt/portrait
RUN /opt/portrait/bin/python -m pip install --no-cache-dir --require-hashes -r requirements/run.txt
# The wheel stays in the image: an extra is added from it.
ARG EXTRAS=
RUN /opt/portrait/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir /opt/portrait/wheel . \
    && /opt/portrait/bin/python -m pip install --no-cache-dir "$(echo /opt/portrait/wheel/*.whl)${EXTRAS:+[$EXTRAS]}"

FROM python:3.12-slim
# A home that only the service's own user can read: it holds people's records.
RUN useradd --system --uid 10001 portrait && install -d -m 0700 -o portrait -g portrait /var/lib/portrait
COPY --from=build /opt/portrait /opt/portrait
ENV PATH=/opt/portrait/bin:$PATH \
    PORTRAIT_DATABASE=sqlite:////var/lib/portrait/portrait.db \
    PORTRAIT_HOST=0.0.0.0
USER portrait
WORKDIR /var/lib/portrait
VOLUME /var/lib/portrait
EXPOSE 8080
HEALTHCHECK CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health/live', timeout=5)"]
ENTRYPOINT ["portrait"]
CMD ["serve"]
