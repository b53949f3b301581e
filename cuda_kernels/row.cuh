// row.cuh - the threads that share one row of an [N, C] array.
//
// Default: one warp per row, blockDim = (32, rows per block). Warps past the last row leave, which
// is allowed because only warp operations follow.
// BLOCK_ROW: one block per row, blockDim = (threads), gridDim.x = N, so nobody leaves.
// Use: ROW_BEGIN(N) first, then `for (int c = ROW_LANE; c < C; c += ROW_STEP)`, row_sum(v) and
// row_max(v) (every thread gets the result). Rows are read again from global memory, not
// held: a row that one warp owns stays in the first-level cache.
#pragma once
#include "common.cuh"

#ifdef BLOCK_ROW
#define ROW_BEGIN(N) const i64 n = blockIdx.x; __shared__ A row_scratch[32]
#define ROW_LANE ((int)threadIdx.x)
#define ROW_STEP ((int)blockDim.x)
#define row_sum(v) block_sum(v, row_scratch)
#define row_max(v) block_max(v, (A)-POS_INF, row_scratch)
#else
#define ROW_BEGIN(N) const i64 n = (i64)blockIdx.x * blockDim.y + threadIdx.y; if (n >= (N)) return
#define ROW_LANE ((int)threadIdx.x)
#define ROW_STEP 32
#define row_sum(v) warp_sum(v)
#define row_max(v) warp_max(v)
#endif
