"""FastAPI with a multipart upload: `uvicorn benchmarks.serving.fast:app`."""

from fastapi import FastAPI, Response, UploadFile

from benchmarks.serving.bare import answer

app = FastAPI()


@app.post("/predict")
async def predict(image: UploadFile) -> Response:
    """The most probable class and the network's own probabilities."""
    return Response(answer(await image.read()), media_type="application/json")
