// CUDA C++ read as host C++: the threads of a grid run one after the other, and those of
// a block take turns where they wait for each other (each on a stack of its own).
#pragma once
#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

struct HostDim { unsigned x, y, z; };
static HostDim threadIdx, blockIdx, blockDim, gridDim;

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__
#define __constant__ static const
#define __shared__ static
#define __launch_bounds__(...)

static inline float __uint_as_float(unsigned bits) { float v; memcpy(&v, &bits, 4); return v; }
static inline unsigned __float_as_uint(float v) { unsigned bits; memcpy(&bits, &v, 4); return bits; }
// CUDA's min and max of floats pass by a NaN, as fminf and fmaxf do.
static inline int min(int a, int b) { return a < b ? a : b; }
static inline int max(int a, int b) { return a > b ? a : b; }
static inline long long min(long long a, long long b) { return a < b ? a : b; }
static inline long long max(long long a, long long b) { return a > b ? a : b; }
static inline float rsqrtf(float v) { return 1.0f / sqrtf(v); }
static inline float __fdividef(float a, float b) { return a / b; }

namespace host_cuda {
// Threads are made once; from then on they take turns by jumps, which ask nothing of the
// system. After a block each waits at the end of its loop for the next one.
struct Thread {
  ucontext_t context;
  jmp_buf at;
  bool made, done;
  HostDim index;
};
const size_t STACK = 1 << 16;
const unsigned MOST = 1024;  // threads of a block
static Thread* threads[MOST];
static jmp_buf scheduler;
static Thread* current;
static void (*body)(void**);
static void** arguments;

static __attribute__((noinline)) void leave() {
  if (!_setjmp(current->at)) _longjmp(scheduler, 1);
}

static void start() {
  for (;;) {
    body(arguments);
    current->done = true;
    leave();
  }
}

static __attribute__((noinline)) void resume(Thread* t) {
  current = t;
  threadIdx = t->index;
  if (_setjmp(scheduler)) return;
  if (t->made) _longjmp(t->at, 1);
  t->made = true;
  setcontext(&t->context);
}

static Thread* made() {
  Thread* t = (Thread*)calloc(1, sizeof(Thread));
  getcontext(&t->context);
  t->context.uc_stack.ss_sp = malloc(STACK);
  t->context.uc_stack.ss_size = STACK;
  t->context.uc_link = nullptr;
  makecontext(&t->context, start, 0);
  return t;
}

// Run a block of n threads; returns false where some wait for others that have ended.
static bool block(unsigned n) {
  if (n > MOST) abort();
  for (unsigned i = 0; i < n; i++) {
    if (!threads[i]) threads[i] = made();
    threads[i]->done = false;
    threads[i]->index = {i % blockDim.x, i / blockDim.x % blockDim.y,
                         i / blockDim.x / blockDim.y};
  }
  bool together = true;
  for (unsigned left = n; left;) {
    unsigned ended = 0;
    left = 0;
    for (unsigned i = 0; i < n; i++) {
      if (threads[i]->done) continue;
      resume(threads[i]);
      left += !threads[i]->done;
      ended += threads[i]->done;
    }
    if (left && ended) together = false;
  }
  current = nullptr;
  return together;
}

template <size_t... I> struct Places {};
template <size_t N, size_t... I> struct UpTo : UpTo<N - 1, N - 1, I...> {};
template <size_t... I> struct UpTo<0, I...> { typedef Places<I...> type; };
template <class... A, size_t... I>
void call(void (*f)(A...), void** p, Places<I...>) { f(*(A*)p[I]...); }
}  // namespace host_cuda

static inline void __syncthreads() {
  if (!host_cuda::current) abort();  // a kernel that was taken for one without barriers
  host_cuda::leave();
}

// HOST_KERNEL(name) exports name_host(grid, block, waits, pointers to the arguments). It
// returns 0, or 1 where threads left a block while others waited for them.
#define HOST_KERNEL(name)                                                                     \
  template <class... A> static void name##_call(void (*f)(A...), void** p) {                  \
    host_cuda::call(f, p, typename host_cuda::UpTo<sizeof...(A)>::type());                    \
  }                                                                                           \
  static void name##_body(void** p) { name##_call(&name, p); }                                \
  extern "C" __attribute__((visibility("default"))) int name##_host(                           \
      const unsigned* grid, const unsigned* block, int waits, void** p) {                       \
    gridDim = {grid[0], grid[1], grid[2]};                                                    \
    blockDim = {block[0], block[1], block[2]};                                                \
    host_cuda::body = name##_body;                                                            \
    host_cuda::arguments = p;                                                                 \
    int apart = 0;                                                                            \
    unsigned n = block[0] * block[1] * block[2];                                              \
    for (unsigned z = 0; z < grid[2]; z++)                                                    \
      for (unsigned y = 0; y < grid[1]; y++)                                                  \
        for (unsigned x = 0; x < grid[0]; x++) {                                              \
          blockIdx = {x, y, z};                                                               \
          if (waits) {                                                                        \
            apart |= !host_cuda::block(n);                                                    \
          } else {                                                                            \
            for (unsigned i = 0; i < n; i++) {                                                \
              threadIdx = {i % block[0], i / block[0] % block[1], i / block[0] / block[1]};   \
              name##_body(p);                                                                 \
            }                                                                                 \
          }                                                                                   \
        }                                                                                     \
    return apart;                                                                             \
  }
