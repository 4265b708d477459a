# Build stage: compile with the development dependencies.
FROM node:20-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
COPY demo ./demo
COPY bench ./bench
COPY trials ./trials
COPY proto ./proto
RUN npm run build && npm prune --omit=dev

# Run stage. glibc 2.34 or newer is required by the QUIC binding (bookworm has 2.36); no Alpine.
FROM node:20-bookworm-slim
ENV NODE_ENV=production
RUN groupadd --system --gid 10001 horizon \
  && useradd --system --uid 10001 --gid horizon --no-create-home horizon \
  && install -d -o horizon -g horizon -m 0750 /var/lib/horizon/telemetry
WORKDIR /opt/telemetry-collector
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist/src ./dist/src
COPY --from=build /app/proto ./proto
COPY config.example.yaml LICENSE ./
COPY deploy/container.yaml /etc/horizon/telemetry-collector.yaml
# In a container, loopback is the container's own: a published port would reach nobody. Who may
# reach it is decided by what is published; deploy it where only Prometheus and probes do.
ENV TELEMETRY_COLLECTOR_OBSERVABILITY__METRICS_ADDR=0.0.0.0
USER horizon
VOLUME /var/lib/horizon/telemetry
EXPOSE 5001/udp 9091/tcp
# SIGTERM drains writers; give `docker stop` at least server.shutdown_timeout_secs (30 s).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:9091/readyz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/opt/telemetry-collector/dist/src/collector/main.js"]
CMD ["/etc/horizon/telemetry-collector.yaml"]
