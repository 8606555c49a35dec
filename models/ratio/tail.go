package ratio

import "math"

// logTail is ln P(X ≥ x) for X beta-binomial with n trials, a and b. Between
// whole numbers it is interpolated, and x at or below the mean gives 0: what is
// not above the mean is no rise. The sum runs upwards from x by the ratio of
// neighbouring terms,
//
//	p(k+1)/p(k) = (n−k)(k+a) / ((k+1)(n−k−1+b)),
//
// (Johnson, Kemp, Kotz: Univariate Discrete Distributions, 6.2.2).
func logTail(x, n, a, b float64) float64 {
	n = max(math.Round(n), math.Ceil(x))
	if x <= n*a/(a+b) {
		return 0
	}
	k := math.Floor(x)
	t := logTailAt(k, n, a, b)
	if f := x - k; f > 0 {
		t = (1-f)*t + f*logTailAt(k+1, n, a, b)
	}
	return min(t, 0)
}

func logTailAt(k, n, a, b float64) float64 {
	if k <= 0 {
		return 0
	}
	sum, term := 1.0, 1.0
	for j := k; j < n; j++ {
		term *= (n - j) * (j + a) / ((j + 1) * (n - j - 1 + b))
		sum += term
		if term < 1e-10*sum {
			break
		}
	}
	return min(logTerm(k, n, a, b)+math.Log(sum), 0)
}

// logTerm is ln p(k) = ln C(n,k) + ln B(k+a, n−k+b) − ln B(a,b).
func logTerm(k, n, a, b float64) float64 {
	return lgamma(n+1) - lgamma(k+1) - lgamma(n-k+1) + logBeta(k+a, n-k+b) - logBeta(a, b)
}

func logBeta(a, b float64) float64 { return lgamma(a) + lgamma(b) - lgamma(a+b) }

func lgamma(x float64) float64 {
	v, _ := math.Lgamma(x)
	return v
}

// lowerChance is P(X ≤ x) for X binomial with n trials of chance p, summed
// downwards from x.
func lowerChance(x, n, p float64) float64 {
	n, k := math.Round(n), math.Floor(x)
	if p >= 1 {
		if k >= n {
			return 1
		}
		return 0
	}
	if k >= n*p {
		return 1
	}
	first := lgamma(n+1) - lgamma(k+1) - lgamma(n-k+1) + k*math.Log(p) + (n-k)*math.Log1p(-p)
	sum, term := 1.0, 1.0
	for j := k; j > 0; j-- {
		term *= j * (1 - p) / ((n - j + 1) * p)
		sum += term
		if term < 1e-10*sum {
			break
		}
	}
	return math.Exp(first) * sum
}
