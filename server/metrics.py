"""The metrics that the operator watches, in Prometheus' text format at GET /metrics."""

from prometheus_client import Counter, Gauge, Histogram

jobs_accepted = Counter("backlot_jobs_accepted_total", "Jobs accepted and charged")
jobs_ended = Counter(
    "backlot_jobs_ended_total", "Jobs ended, by outcome: success or the reason of the failure", ["outcome"]
)
credits_charged = Counter("backlot_credits_charged_total", "Credits taken at dispatch")
credits_refunded = Counter(
    "backlot_credits_refunded_total", "Credits given back, by the reason of the failure", ["reason"]
)
dispatch_seconds = Histogram(
    "backlot_dispatch_seconds",
    "Seconds from the body of a workflow's request to its job on disk",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 1, 5),
)
job_wait_seconds = Histogram(
    "backlot_job_wait_seconds",
    "Seconds from the acceptance of a job until its first image was sent to a GPU",
    ["model", "client_class"],
    buckets=(0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600, 1800),
)
queue_oldest_seconds = Gauge("backlot_queue_oldest_seconds", "Seconds that the oldest waiting image has waited")
queue_paused = Gauge("backlot_queue_paused", "Whether the operator has paused the queue")
images_waiting = Gauge("backlot_images_waiting", "Images that wait for a GPU")
images_in_flight = Gauge("backlot_images_in_flight", "Images in GPU processes", ["device"])
slots = Gauge("backlot_slots", "Slots of the denoiser that are open", ["device"])
device_up = Gauge("backlot_device_up", "Whether the device's GPU process takes orders", ["device"])
device_images = Counter("backlot_device_images_total", "Images generated on the device", ["device"])
device_memory = Gauge("backlot_device_memory_bytes", "Memory of the device in use", ["device"])
image_seconds = Histogram(
    "backlot_image_seconds",
    "Seconds an image was in its slot, decoding included",
    ["model"],
    buckets=(0.1, 0.3, 1, 3, 10, 30, 100, 300),
)
job_seconds = Histogram(
    "backlot_job_seconds", "Seconds from acceptance to the end of a job", buckets=(0.3, 1, 3, 10, 30, 100, 300, 1000)
)
step_seconds = Histogram(
    "backlot_step_seconds",
    "Seconds from one denoising step to the next, of images that took both",
    ["model"],
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15),
)
batch_images = Histogram(
    "backlot_batch_images",
    "Images that took a denoising step together",
    ["model"],
    buckets=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64),
)
batch_fill = Histogram(
    "backlot_batch_fill_ratio",
    "Images that took a denoising step together, as a part of the slots that were open",
    ["model"],
    buckets=(0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1),
)
model_load_seconds = Histogram(
    "backlot_model_load_seconds",
    "Seconds that a GPU process took to load a model",
    ["model"],
    buckets=(0.1, 0.3, 1, 3, 10, 30, 60, 120, 300),
)
disk_free = Gauge("backlot_disk_free_bytes", "Bytes free on the disk of the data folder")
gpu_utilization = Gauge("backlot_gpu_utilization_ratio", "Part of the last second in which the GPU worked", ["gpu"])
gpu_memory_used = Gauge("backlot_gpu_memory_used_bytes", "Memory of the GPU that all programs use", ["gpu"])
gpu_memory_total = Gauge("backlot_gpu_memory_total_bytes", "Memory that the GPU has", ["gpu"])
gpu_power = Gauge("backlot_gpu_power_watts", "What the GPU draws", ["gpu"])
gpu_temperature = Gauge("backlot_gpu_temperature_celsius", "How warm the GPU is", ["gpu"])
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
images_removed = Counter("backlot_images_removed_total", "Images removed: by their client, by age or by size", ["why"])
webhooks_pending = Gauge("backlot_webhooks_pending", "Webhook deliveries that have not ended")
