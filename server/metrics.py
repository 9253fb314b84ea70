"""What the operator watches, in Prometheus' text format at GET /metrics."""

from prometheus_client import Counter, Gauge, Histogram

jobs_accepted = Counter("backlot_jobs_accepted_total", "Jobs accepted and charged")
jobs_ended = Counter(
    "backlot_jobs_ended_total", "Jobs ended, by outcome: success or the reason of the failure", ["outcome"]
)
credits_charged = Counter("backlot_credits_charged_total", "Credits taken at dispatch")
queue_depth = Gauge("backlot_queue_jobs", "Images that wait for a GPU")
running = Gauge("backlot_running_jobs", "Images in the GPU process")
slots = Gauge("backlot_slots", "Slots of the denoiser that are open")
image_seconds = Histogram(
    "backlot_image_seconds",
    "Seconds an image was in its slot, decoding included",
    ["model"],
    buckets=(0.1, 0.3, 1, 3, 10, 30, 100, 300),
)
job_seconds = Histogram(
    "backlot_job_seconds", "Seconds from acceptance to the end of a job", buckets=(0.3, 1, 3, 10, 30, 100, 300, 1000)
)
worker_starts = Counter("backlot_gpu_process_starts_total", "Starts of the GPU process")
model_loaded = Gauge("backlot_model_loaded", "GPUs that have the model in memory", ["model"])
refused_requests = Counter(
    "backlot_refused_requests_total", "Requests that were broken, too slow or too large to reach a route", ["code"]
)
requests_without_row = Counter(
    "backlot_requests_without_row_total",
    "Requests that have no row in the request log: of a flood, or because the database took none",
    ["why"],
)
webhook_tries = Counter(
    "backlot_webhook_tries_total",
    "Webhook requests sent, by outcome: delivered, failed (tried again later) or dead (given up)",
    ["outcome"],
)
webhooks_pending = Gauge("backlot_webhooks_pending", "Webhook deliveries that have not ended")
