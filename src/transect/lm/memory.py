"""Whether an error says that memory gave out, on whatever device."""

import torch

# how the libraries of the accelerators, and torch on a CPU, say that memory gave out
NO_MEMORY = (
    "can't allocate memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUSPARSE_STATUS_ALLOC_FAILED",
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "UR_RESULT_ERROR_OUT_OF_",
)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error, or the one that it was raised from, says that memory gave out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, RuntimeError) and any(
        words.lower() in str(error).lower() for words in NO_MEMORY
    ):
        return True
    return error.__cause__ is not None and out_of_memory(error.__cause__)
