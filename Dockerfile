# glibc: the prebuilt LMDB of every platform is made for it. The programs also run on musl (docs/operating.md).
FROM node:24.21.0-bookworm-slim AS base

FROM base AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.product.json ./
COPY src ./src
RUN npm run build:product

# Native parts come prebuilt as packages of their own, so no install script has to run.
FROM base AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --ignore-scripts

FROM base
ENV NODE_ENV=production
RUN groupadd --system --gid 10001 horizon \
  && useradd --system --uid 10001 --gid horizon --no-create-home horizon \
  && install -d -o horizon -g horizon -m 0750 /var/lib/horizon/telemetry
WORKDIR /opt/telemetry-collector
COPY package.json config.example.yaml LICENSE NOTICE ./
COPY proto ./proto
COPY --from=dependencies /app/node_modules ./node_modules
COPY --from=build /app/dist/src ./dist/src
COPY src/transport/quinn/quinn.wasm ./src/transport/quinn/
COPY deploy/container.yaml /etc/horizon/telemetry-collector.yaml
# In a container, loopback is the container's own: a published port would reach nobody. Who may
# reach it is decided by what is published; deploy it where only Prometheus and probes do.
ENV TELEMETRY_COLLECTOR_OBSERVABILITY__METRICS_ADDR=0.0.0.0
USER horizon
VOLUME /var/lib/horizon/telemetry
EXPOSE 5001/udp 5001/tcp 9091/tcp
# SIGTERM drains writers; give `docker stop` at least server.shutdown_timeout_secs (30 s).
STOPSIGNAL SIGTERM
# Whether the process answers. /readyz also fails while InfluxDB is down, which no restart mends.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:9091/healthz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/opt/telemetry-collector/dist/src/collector/main.js"]
CMD ["/etc/horizon/telemetry-collector.yaml"]
