// Classes, exceptions, a jump table, strings: what a C++ compiler leaves in tables.
#include <map>
#include <stdexcept>
#include <string>

struct Shape {
  virtual ~Shape() = default;
  virtual double area() const = 0;
  virtual std::string name() const { return "shape"; }
};
struct Square : Shape {
  double side;
  explicit Square(double s) : side(s) {
    if (s < 0) throw std::invalid_argument("a side below nothing");
  }
  double area() const override { return side * side; }
  std::string name() const override { return "square"; }
};
struct Circle : Shape {
  double radius;
  explicit Circle(double r) : radius(r) {
    if (r < 0) throw std::range_error("a radius below nothing");
  }
  double area() const override { return 3.14159 * radius * radius; }
#ifdef SECOND
  std::string name() const override { return "circle of " + std::to_string(radius); }
#endif
};

static int kind(const std::string &text) {
  switch (text.empty() ? 0 : text[0]) {
    case 'a': return 3;
    case 'b': return 1;
    case 'c': return 4;
    case 'd': return 1;
    case 'e': return 5;
    case 'f': return 9;
#ifdef SECOND
    case 'g': throw std::out_of_range(text);
#endif
    default: throw std::runtime_error("no kind of " + text);
  }
}

static double total(const std::map<std::string, double> &sizes) {
  double sum = 0;
  for (const auto &[text, size] : sizes) {
    try {
      Shape *shape = kind(text) & 1 ? static_cast<Shape *>(new Square(size)) : new Circle(size);
      sum += shape->area() + shape->name().size();
      delete shape;
    } catch (const std::invalid_argument &e) {
      sum -= std::string(e.what()).size();
    } catch (const std::runtime_error &) {
      sum += 1;
    }
#ifdef SECOND
    catch (...) {
      sum *= 2;
    }
#endif
  }
  return sum;
}

int main(int argc, char **argv) {
  std::map<std::string, double> sizes;
  for (int i = 1; i < argc; i++) sizes[argv[i]] = i - 3.5;
  return static_cast<int>(total(sizes));
}
