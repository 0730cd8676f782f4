"""The run function of an evaluation: every domain's held-out documents through one model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ramify.evals.scores import SCORES, documents_path, read_documents, told, write_documents
from ramify.evals.steps import Evaluate
from ramify.ground import files
from ramify.ground.step import Input, Tell
from ramify.model.network import Transformer
from ramify.tokens.shards import Source, check_join
from ramify.train.checkpoint import load_model
from ramify.train.documents import Documents, summary
from ramify.train.score import HeldOut, score_documents


def run_evaluate(
    step: Evaluate, inputs: Mapping[str, Input], out: Path, tell: Tell
) -> dict[str, Any]:
    """Score every domain, those that an earlier attempt finished excepted; return all scores.

    Raises Mismatch where the sources were made with different tokenizers, BadInput where their
    tokens are not the model's or no document was held out.
    """
    sources = {domain: Source.open(inputs[f"corpora.{domain}"].path) for domain in step.corpora}
    check_join(sources)
    (out / "documents").mkdir(exist_ok=True)
    left = [domain for domain in sources if not documents_path(out, domain).is_file()]
    if left:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = load_model(inputs["model"].path).to(device)
        for domain in left:
            tell(len(sources) - len(left), len(sources), "domains", domain)
            costs = _costs(step, model, sources[domain], device)
            write_documents(documents_path(out, domain), costs)
    scores = told(
        {domain: summary(read_documents(documents_path(out, domain))) for domain in sources}
    )
    files.write_json(out / SCORES, scores)
    return {"scores": scores}


def _costs(step: Evaluate, model: Transformer, source: Source, device: torch.device) -> Documents:
    chosen = HeldOut.load(source.folder).limited(step.limit_tokens)
    return score_documents(
        model,
        chosen,
        end_of_text=source.end_of_text,
        seq_len=step.seq_len,
        rows=step.rows,
        loss_chunk=step.loss_chunk,
        device=device,
    )
