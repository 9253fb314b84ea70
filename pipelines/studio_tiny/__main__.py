"""`./scripts/train_studio_tiny`: train, export, and draw the contact sheet."""

import argparse
from pathlib import Path

from pipelines.studio_tiny.sheet import draw_sheet
from pipelines.studio_tiny.train import Plan, train

WEIGHTS = Path(__file__).parent / "weights"


def main() -> None:
    defaults = {field: getattr(Plan(work=Path()), field) for field in Plan.__struct_fields__}
    parser = argparse.ArgumentParser(
        prog="./scripts/train_studio_tiny", description="Train studio-tiny; it resumes from the work folder."
    )
    parser.add_argument(
        "--work", type=Path, default=Path("build/studio-tiny"), help="pictures, latents and checkpoints"
    )
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="the diffusers folder to write")
    parser.add_argument(
        "--start", type=Path, metavar="FOLDER", help="go on from the weights of this folder, not from nothing"
    )
    parser.add_argument("--pictures", type=int, default=defaults["pictures"], help="pictures to render")
    parser.add_argument("--workers", type=int, default=defaults["workers"], help="processes that render")
    parser.add_argument("--core-steps", type=int, default=defaults["core_steps"])
    parser.add_argument("--core-batch", type=int, default=defaults["core_batch"])
    parser.add_argument("--autoencoder-steps", type=int, default=defaults["autoencoder_steps"])
    parser.add_argument("--autoencoder-batch", type=int, default=defaults["autoencoder_batch"])
    parser.add_argument("--coarse-steps", type=int, default=defaults["coarse_steps"])
    parser.add_argument("--coarse-batch", type=int, default=defaults["coarse_batch"])
    parser.add_argument("--fine-steps", type=int, default=defaults["fine_steps"])
    parser.add_argument("--fine-batch", type=int, default=defaults["fine_batch"])
    parser.add_argument("--minutes", type=float, default=defaults["minutes"], help="stop the denoiser after so many")
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="only draw the contact sheet of the weights in --out")
    arguments = vars(parser.parse_args())
    sheet, out = arguments.pop("sheet"), arguments.pop("out")
    if sheet is None:
        train(Plan(**arguments), out)
    else:
        draw_sheet(out, sheet)


if __name__ == "__main__":
    main()
