// A GPU on the host: every thread of a threadgroup is a coroutine, so that barriers and shuffles work
// between lanes as they do there. For tests; nothing here is fast.

#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

typedef unsigned int uint;
typedef unsigned long ulong;

inline float bits_to_float(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

inline uint32_t float_to_bits(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}

struct half {
    uint16_t bits;

    half() = default;
    explicit half(float x) {
        const uint16_t sign = float_to_bits(x) >> 16 & 0x8000;
        const float size = std::fabs(x);
        if (!(size < 65520)) {
            bits = sign | (std::isnan(x) ? 0x7e00 : 0x7c00);
        } else if (size < 0x1p-14f) {
            bits = sign | uint16_t(std::nearbyint(size * 0x1p24f));
        } else {
            const uint32_t whole = float_to_bits(size) - (112u << 23);
            bits = sign | uint16_t((whole + 0xfff + (whole >> 13 & 1)) >> 13);
        }
    }
    operator float() const {
        const int exponent = bits >> 10 & 31, fraction = bits & 1023;
        float x = exponent == 31 ? (fraction ? NAN : INFINITY)
            : exponent == 0      ? std::ldexp(float(fraction), -24)
                                 : std::ldexp(float(1024 + fraction), exponent - 25);
        return bits & 0x8000 ? -x : x;
    }
};

struct bfloat {
    uint16_t bits;

    bfloat() = default;
    explicit bfloat(float x) {
        const uint32_t whole = float_to_bits(x);
        bits = (whole + 0x7fff + (whole >> 16 & 1)) >> 16;
    }
    operator float() const { return bits_to_float(uint32_t(bits) << 16); }
};

// One threadgroup: coroutines that run in turn, each until it waits for the others.
struct Threadgroup {
    struct Meeting {
        int arrived = 0;
        long round = 0;
    };

    std::vector<ucontext_t> contexts;
    std::vector<std::vector<char>> stacks;
    std::vector<bool> finished;
    std::vector<Meeting> meetings;  // of each simdgroup, then of all
    std::vector<uint32_t> slots;    // 8 a thread
    std::function<void(int)> body;
    ucontext_t scheduler;
    int current = 0;

    explicit Threadgroup(int threads)
        : contexts(threads), stacks(threads, std::vector<char>(1 << 17)), finished(threads),
          meetings(threads / 32 + 1), slots(8 * threads) {}

    static Threadgroup*& active() {
        static Threadgroup* group = nullptr;
        return group;
    }

    static void enter() {
        Threadgroup* group = active();
        group->body(group->current);
        group->finished[group->current] = true;
    }

    void run(std::function<void(int)> given) {
        active() = this;
        body = std::move(given);
        const int threads = int(contexts.size());
        for (int i = 0; i < threads; i++) {
            finished[i] = false;
            getcontext(&contexts[i]);
            contexts[i].uc_stack.ss_sp = stacks[i].data();
            contexts[i].uc_stack.ss_size = stacks[i].size();
            contexts[i].uc_link = &scheduler;
            makecontext(&contexts[i], enter, 0);
        }
        for (int left = threads; left > 0;) {
            left = 0;
            for (current = 0; current < threads; current++) {
                if (finished[current]) continue;
                left++;
                swapcontext(&scheduler, &contexts[current]);
            }
        }
    }

    void meet(Meeting& meeting, int count) {
        const long round = meeting.round;
        if (++meeting.arrived == count) {
            meeting.arrived = 0;
            meeting.round++;
        }
        while (meeting.round == round) swapcontext(&contexts[current], &scheduler);
    }

    void meet_simdgroup() { meet(meetings[current / 32], 32); }
    void meet_all() { meet(meetings.back(), int(contexts.size())); }
    uint32_t* slot(int lane) { return &slots[8 * (current / 32 * 32 + lane)]; }
};

// What a lane has to say to the others of its simdgroup, and the word it hears from one of them.
inline uint exchange(uint x, int lane) {
    Threadgroup* group = Threadgroup::active();
    group->slot(group->current % 32)[0] = x;
    group->meet_simdgroup();
    const uint found = group->slot(lane)[0];
    group->meet_simdgroup();
    return found;
}
