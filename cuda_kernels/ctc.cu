// ctc.cu - connectionist temporal classification (Graves, Fernandez, Gomez, Schmidhuber 2006).
//
// x[B,T,C] log probabilities, class C-1 is the blank; labels[B,L], frames[B] and counts[B] in use.
// States s = 0 .. 2 * count: blank, label 0, blank, label 1, ... Sums of logarithms in double.
// One block per row of the batch, a thread per state (threads step over the rest).
//
// ctc_fwd   x labels frames counts -> loss[B]      dynamic shared memory 2*(2L+1) doubles
//                                                  B*T*(2L+1)*sizeof(T) bytes, scattered
// ctc_bwd   x labels frames counts g -> alpha[B,T,2L+1] gx[B,T,C]      gx starts as zeros
//           gx = -g * P(class at frame | labels); dynamic shared memory 3*(2L+1) doubles + ints
// ctc_greedy   x frames -> labels[B,T] int64, score[B]      the best class of each frame, repeats
//           merged, blanks left out, then -1; score = -sum of the best scores; one warp per row
//                                                                            B*T*C*sizeof(T) bytes
// Labels of C-1 and above end a row: no others may come after them. That, and a label below 0, make
// the row NaN; a row without any path has loss infinity, gradient 0.
#include "common.cuh"

#define NEVER ((double)-POS_INF)

__device__ __forceinline__ double log_add(double a, double b) {
    const double top = a > b ? a : b;
    return top == NEVER ? NEVER : top + log1p(exp((a > b ? b : a) - top));
}

struct Row {
    const T* x;                                      // log probabilities of this row
    const int* labels;
    int T_, C, states, given;                        // given: labels, the blanks at the end too

    // class of a state
    __device__ __forceinline__ int of(int s) const { return s & 1 ? labels[s >> 1] : C - 1; }
    // may the blank before label state s be left out?
    __device__ __forceinline__ bool skips(int s) const {
        return (s & 1) && s >= 3 && labels[s >> 1] != labels[(s >> 1) - 1];
    }
    __device__ __forceinline__ double emit(int t, int s) const {
        return (double)(A)x[(i64)t * C + of(s)];
    }
};

__device__ __forceinline__ Row row_of(const T* x, const int* labels, const int* frames,
                                      const int* counts, int T_, int C, int L) {
    const i64 b = blockIdx.x;
    Row r;
    r.x = x + b * T_ * C;
    r.labels = labels + b * L;
    r.T_ = min(max(frames[b], 0), T_);
    r.C = C;
    r.given = min(max(counts[b], 0), L);
    int used = 0;
    while (used < r.given && r.labels[used] < C - 1) ++used;
    r.states = 2 * used + 1;
    return r;
}

__device__ __forceinline__ int has_bad_label(const Row& r) {
    int bad = 0;
    for (int k = threadIdx.x; k < r.given; k += blockDim.x)
        bad |= k < r.states / 2 ? r.labels[k] < 0 : r.labels[k] < r.C - 1;
    return bad;
}

// Probability of reaching each state at frame t from those of frame t - 1, into `now`.
__device__ __forceinline__ void forward(const Row& r, int t, const double* before, double* now) {
    for (int s = threadIdx.x; s < r.states; s += blockDim.x) {
        double v;
        if (t == 0) {
            v = s < 2 ? 0. : NEVER;
        } else {
            v = before[s];
            if (s >= 1) v = log_add(v, before[s - 1]);
            if (r.skips(s)) v = log_add(v, before[s - 2]);
        }
        now[s] = v + r.emit(t, s);
    }
}

__device__ __forceinline__ double log_total(const Row& r, const double* last) {
    if (r.T_ == 0) return r.states == 1 ? 0. : NEVER;
    return r.states == 1 ? last[0] : log_add(last[r.states - 1], last[r.states - 2]);
}

extern "C" __global__ void ctc_fwd(const T* __restrict__ x_btc, const int* __restrict__ labels_bl,
                                   const int* __restrict__ frames_b,
                                   const int* __restrict__ counts_b, T* __restrict__ loss_b,
                                   int T_, int C, int L) {
    // the block synchronises: nobody leaves but all together
    extern __shared__ double shared[];
    const Row r = row_of(x_btc, labels_bl, frames_b, counts_b, T_, C, L);
    double* before = shared;
    double* now = shared + 2 * L + 1;
    if (__syncthreads_or(has_bad_label(r))) {
        if (threadIdx.x == 0) loss_b[blockIdx.x] = (T)(A)QUIET_NAN;
        return;
    }
    for (int t = 0; t < r.T_; ++t) {
        forward(r, t, before, now);
        __syncthreads();
        double* swap = before;
        before = now;
        now = swap;
    }
    if (threadIdx.x == 0) loss_b[blockIdx.x] = (T)(A)-log_total(r, before);
}

extern "C" __global__ void ctc_bwd(const T* __restrict__ x_btc, const int* __restrict__ labels_bl,
                                   const int* __restrict__ frames_b,
                                   const int* __restrict__ counts_b, const T* __restrict__ g_b,
                                   double* __restrict__ alpha_bts, T* __restrict__ gx_btc, int T_,
                                   int C, int L) {
    // the block synchronises: nobody leaves but all together
    extern __shared__ double shared[];
    __shared__ double scratch[32];
    const int S = 2 * L + 1;
    const Row r = row_of(x_btc, labels_bl, frames_b, counts_b, T_, C, L);
    double* alpha = alpha_bts + (i64)blockIdx.x * T_ * S;
    T* gx = gx_btc + (i64)blockIdx.x * T_ * C;
    double* after = shared;
    double* now = shared + S;
    double* share = shared + 2 * S;
    int* next = (int*)(shared + 3 * S);              // the next state with the same label, or 0
    if (__syncthreads_or(has_bad_label(r))) {
        for (i64 i = threadIdx.x; i < (i64)T_ * C; i += blockDim.x) gx[i] = (T)(A)QUIET_NAN;
        return;
    }
    for (int t = 0; t < r.T_; ++t) {
        forward(r, t, alpha + (i64)(t - 1) * S, alpha + (i64)t * S);
        __syncthreads();
    }
    const double total = log_total(r, alpha + (i64)(r.T_ - 1) * S);
    if (total == NEVER) return;                      // the same for the whole block
    // negative: an earlier state has the label and adds up for this one
    for (int s = threadIdx.x; s < r.states; s += blockDim.x) {
        next[s] = 0;
        if (!(s & 1)) continue;
        for (int q = s + 2; q < r.states && !next[s]; q += 2)
            if (r.of(q) == r.of(s)) next[s] = q;
        for (int q = 1; q < s; q += 2)
            if (r.of(q) == r.of(s)) { next[s] = -(next[s] + 1); break; }
    }
    const A g = (A)g_b[blockIdx.x];
    for (int t = r.T_ - 1; t >= 0; --t) {
        for (int s = threadIdx.x; s < r.states; s += blockDim.x) {
            double v = NEVER;
            if (t == r.T_ - 1) {
                if (s >= r.states - 2) v = 0.;
            } else {
                v = after[s] + r.emit(t + 1, s);
                if (s + 1 < r.states) v = log_add(v, after[s + 1] + r.emit(t + 1, s + 1));
                if (s + 2 < r.states && r.skips(s + 2))
                    v = log_add(v, after[s + 2] + r.emit(t + 1, s + 2));
            }
            now[s] = v;
            share[s] = exp(alpha[(i64)t * S + s] + v - total);
        }
        __syncthreads();
        double blanks = 0;
        for (int s = 2 * threadIdx.x; s < r.states; s += 2 * blockDim.x) blanks += share[s];
        blanks = block_sum(blanks, scratch);
        if (threadIdx.x == 0) gx[(i64)t * C + C - 1] = (T)(-(A)blanks * g);
        for (int s = threadIdx.x; s < r.states; s += blockDim.x) {
            if (!(s & 1) || next[s] < 0) continue;
            double sum = share[s];
            for (int q = next[s]; q; q = next[q] < 0 ? -(next[q] + 1) : next[q]) sum += share[q];
            gx[(i64)t * C + r.of(s)] = (T)(-(A)sum * g);
        }
        __syncthreads();
        double* swap = after;
        after = now;
        now = swap;
    }
}

extern "C" __global__ void ctc_greedy(const T* __restrict__ x_btc, const int* __restrict__ frames_b,
                                      i64* __restrict__ labels_bt, T* __restrict__ score_b, int B,
                                      int T_, int C) {
    const int b = blockIdx.x * blockDim.y + threadIdx.y;
    if (b >= B) return;                              // whole warps: no block barrier below
    const T* x = x_btc + (i64)b * T_ * C;
    i64* labels = labels_bt + (i64)b * T_;
    const int frames = min(max(frames_b[b], 0), T_);
    int length = 0, before = -1;
    A total = 0;
    for (int t = 0; t < frames; ++t) {
        A top = (A)-POS_INF;
        int best = C - 1;
        for (int c = threadIdx.x; c < C; c += 32) {
            const A v = (A)x[(i64)t * C + c];
            if (v > top) {
                top = v;
                best = c;
            }
        }
#pragma unroll
        for (int o = 16; o > 0; o >>= 1) {           // of equal scores the first class
            const A v = __shfl_xor_sync(FULL_WARP, top, o);
            const int c = __shfl_xor_sync(FULL_WARP, best, o);
            if (v > top || (v == top && c < best)) {
                top = v;
                best = c;
            }
        }
        total += top;
        if (best != C - 1 && best != before) {
            if (threadIdx.x == 0) labels[length] = best;
            ++length;
        }
        before = best;
    }
    for (int t = length + threadIdx.x; t < T_; t += 32) labels[t] = -1;
    if (threadIdx.x == 0) score_b[b] = (T)-total;
}
